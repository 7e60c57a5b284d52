package helm_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/render/class"
	"atoll.dev/atoll/internal/render/helm"
)

func TestWhatIsNotTheSameEachTimeIsRefusedByLine(t *testing.T) {
	for _, call := range []string{
		`randAlphaNum 8`, `randAlpha 1`, `randAscii 3`, `randNumeric 4`, `randBytes 4`, `randInt 0 9`, `shuffle "aba"`, `uuidv4`,
		`now`, `now | date "2006"`, `date "2006" "no time"`, `htmlDate nil`, `dateInZone "15" "" "UTC"`, `ago now`, `now | unixEpoch`, `now | date "05" | int | add 1`,
		`bcrypt "x"`, `htpasswd "a" "b"`, `encryptAES "k" "v"`, `genPrivateKey "rsa"`,
		`(genCA "a" 1).Cert | b64enc`, `(genSelfSignedCert "a" nil (list "b") 1).Key | b64enc`,
		`(genSignedCert "a" nil nil 1 (genCA "b" 1)).Cert | sha256sum`, `gt (randInt 0 100) 50`,
	} {
		t.Run(call, func(t *testing.T) {
			_, err := render(t, chart("  harmless: {{ len (randAlphaNum 5) }}\n  a: {{ default (uuidv4) \"given\" }}\n  x: {{ "+call+" }}\n"))
			if err == nil || !strings.Contains(err.Error(), "web/templates/config.yaml:8: ") || !strings.Contains(err.Error(), "something else each time") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheLineIsThatOfANamedTemplate(t *testing.T) {
	_, err := render(t, chart("  x: {{ include \"password\" . }}\n", "web/templates/_lib.tpl", "{{ define \"password\" }}\n\n{{ randAlphaNum 3 }}{{ end }}"))
	if err == nil || !strings.Contains(err.Error(), "web/templates/_lib.tpl:3: randAlphaNum") {
		t.Errorf("got %v", err)
	}
}

func TestWhatDoesNotReachTheOutputIsNoReasonToRefuse(t *testing.T) {
	r, err := render(t, chart("  a: {{ default (randAlphaNum 9) .Values.password }}\n  b: {{ 0 | date \"2006\" | quote }}\n  c: {{ (genCA \"x\" 1).Cert | len }}\n",
		"web/templates/NOTES.txt", "{{ uuidv4 }}"), values("password: given"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text(r), "a: given\n  b: \"1970\"\n") {
		t.Errorf("got %s", text(r))
	}
}

// Helm's own keys and values come in another order each time.
func TestKeysComeInAnOrder(t *testing.T) {
	files := chart("  k: {{ keys .Values.m | join \" \" }}\n  v: {{ values .Values.m | join \" \" }}\n", "web/values.yaml", "m: {d: 1, a: 2, c: 3, b: 4, e: 5}")
	r, err := render(t, files)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text(r), "k: a b c d e\n  v: 2 4 3 1 5\n") {
		t.Errorf("got %s", text(r))
	}
}

func TestTemplatesThatWriteIntoValuesAreRenderedFromTheSameEachTime(t *testing.T) {
	files := chart("  {{- $_ := set .Values \"n\" (add1 .Values.n) }}\n  n: {{ .Values.n }}\n  len: {{ uuidv4 | len }}\n", "web/values.yaml", "n: 1")
	if _, err := render(t, files); err != nil {
		t.Error(err)
	}
}

// What a chart asks a cluster is random here; whatever it asks, a cluster that
// would have answered alike gets the same objects, and only such a one.
func TestClustersOfOneClassRenderAlike(t *testing.T) {
	versions := []string{"v1.29.1", "v1.29.7", "v1.33.4", "v1.33.4-gke.100", "v1.34.0"}
	apis := []string{"v1", "policy/v1", "monitoring.coreos.com/v1", "autoscaling/v2", "cert-manager.io/v1/Certificate"}
	lines := []string{
		"{{ if .Capabilities.APIVersions.Has \"policy/v1\" }}x: 1{{ else }}{{ if .Capabilities.APIVersions.Has \"autoscaling/v2\" }}x: 2{{ end }}{{ end }}",
		"{{ if .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}m: {{ .Capabilities.KubeVersion.Minor }}{{ end }}",
		"{{ if semverCompare \">=1.30-0\" .Capabilities.KubeVersion.Version }}n: 1{{ end }}",
		"{{ if semverCompare \">=1.30-0\" (.Capabilities.KubeVersion | toString) }}s: 1{{ end }}",
		"major: {{ .Capabilities.KubeVersion.Major }}",
		"all: {{ range .Capabilities.APIVersions }}{{ . }} {{ end }}",
		"has: {{ has \"policy/v1\" .Capabilities.APIVersions }}",
		"{{ $c := deepCopy . }}copied: {{ $c.Capabilities.APIVersions.Has \"autoscaling/v2\" }}",
		"whole: {{ .Capabilities | toJson | quote }}",
		"{{ with .Capabilities.KubeVersion }}git: {{ .GitVersion }}{{ end }}",
	}
	rapid.Check(t, func(t *rapid.T) {
		cluster := rapid.Custom(func(t *rapid.T) class.Capabilities {
			served := rapid.SliceOfDistinct(rapid.SampledFrom(apis), func(s string) string { return s }).Draw(t, "apis")
			slices.Sort(served)
			return class.Capabilities{KubeVersion: rapid.SampledFrom(versions).Draw(t, "version"), APIVersions: served}
		})
		used := rapid.SliceOfNDistinct(rapid.SampledFrom(lines), 1, 3, func(s string) string { return s }).Draw(t, "lines")
		files := tree("web/Chart.yaml", chartYAML, "web/templates/a.yaml", strings.Join(used, "\n"))
		one, other := cluster.Draw(t, "one"), cluster.Draw(t, "other")
		a, err := helm.Render(files, "web", one, helm.Options{Release: "r"})
		if err != nil {
			t.Fatal(err)
		}
		b, err := helm.Render(files, "web", other, helm.Options{Release: "r"})
		if err != nil {
			t.Fatal(err)
		}
		alike := class.Matches(a.Queries, other)
		if sameKey := class.Key(a.Inputs, a.Queries) == class.Key(b.Inputs, b.Queries); alike != sameKey {
			t.Fatalf("answers alike: %v, same class: %v\n%v\n%v", alike, sameKey, a.Queries, b.Queries)
		}
		if alike && !reflect.DeepEqual(a.Files, b.Files) {
			t.Fatalf("one class, two outcomes:\n%s\n%s", text(a), text(b))
		}
	})
}

func TestTheInputsOfARenderAreAllThatItReads(t *testing.T) {
	base := func() (helm.Result, error) { return render(t, chart("  a: {{ .Values.a }}\n")) }
	first, err := base()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := base(); again.Inputs != first.Inputs || !bytes.Equal([]byte(text(again)), []byte(text(first))) {
		t.Error("equal inputs gave something else")
	}
	for name, other := range map[string]func() (helm.Result, error){
		"values": func() (helm.Result, error) { return render(t, chart("  a: {{ .Values.a }}\n"), values("a: 1")) },
		"a file": func() (helm.Result, error) { return render(t, chart("  a: {{ .Values.a }}\n", "web/x", "")) },
		"namespace": func() (helm.Result, error) {
			return render(t, chart("  a: {{ .Values.a }}\n"), func(o *helm.Options) { o.Namespace = "x" })
		},
	} {
		if r, err := other(); err != nil || r.Inputs == first.Inputs {
			t.Errorf("another %s has the same digest of inputs (%v)", name, err)
		}
	}
	ignored, err := render(t, chart("  a: {{ .Values.a }}\n", "README.md", "beside the chart", "web/.git/HEAD", "x"))
	if err != nil || ignored.Inputs != first.Inputs {
		t.Errorf("files that are no part of the chart count as inputs (%v)", err)
	}
}

// A function that is new in the library may answer differently each time:
// whoever adds it here has looked.
func TestEveryTemplateFunctionWasLookedAt(t *testing.T) {
	looked := strings.Fields(lookedAt)
	for name := range sprig.TxtFuncMap() {
		if !slices.Contains(looked, name) {
			t.Errorf("%s is new: is it the same each time?", name)
		}
	}
	if _, err := template.New("").Funcs(sprig.TxtFuncMap()).Parse("{{ now }}"); err != nil {
		t.Fatal(err)
	}
}

// lookedAt are the functions of the template language beside Helm's own; those
// that random numbers, the clock or the order of a map go into are replaced.
const lookedAt = `
abbrev abbrevboth add add1 add1f addf adler32sum ago all any append atoi
b32dec b32enc b64dec b64enc base bcrypt biggest buildCustomCert camelcase cat ceil chunk
clean coalesce compact concat contains date dateInZone dateModify date_in_zone date_modify decryptAES deepCopy
deepEqual default derivePassword dict dig dir div divf duration durationRound empty encryptAES
env expandenv ext fail first float64 floor fromJson genCA genCAWithKey genPrivateKey genSelfSignedCert
genSelfSignedCertWithKey genSignedCert genSignedCertWithKey get getHostByName has hasKey hasPrefix hasSuffix hello htmlDate htmlDateInZone
htpasswd indent initial initials int int64 isAbs join kebabcase keys kindIs kindOf
last list lower max maxf merge mergeOverwrite min minf mod mul mulf
mustAppend mustChunk mustCompact mustDateModify mustDeepCopy mustFirst mustFromJson mustHas mustInitial mustLast mustMerge mustMergeOverwrite
mustPrepend mustPush mustRegexFind mustRegexFindAll mustRegexMatch mustRegexReplaceAll mustRegexReplaceAllLiteral mustRegexSplit mustRest mustReverse mustSlice mustToDate
mustToJson mustToPrettyJson mustToRawJson mustUniq mustWithout must_date_modify nindent nospace now omit osBase osClean
osDir osExt osIsAbs pick pluck plural prepend push quote randAlpha randAlphaNum randAscii
randBytes randInt randNumeric regexFind regexFindAll regexMatch regexQuoteMeta regexReplaceAll regexReplaceAllLiteral regexSplit repeat replace
rest reverse round semver semverCompare seq set sha1sum sha256sum sha512sum shuffle slice
snakecase sortAlpha split splitList splitn squote sub subf substr swapcase ternary title
toDate toDecimal toJson toPrettyJson toRawJson toString toStrings trim trimAll trimPrefix trimSuffix trimall
trunc tuple typeIs typeIsLike typeOf uniq unixEpoch unset until untilStep untitle upper
urlJoin urlParse uuidv4 values without wrap wrapWith `
