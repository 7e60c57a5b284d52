package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/web"
)

// way is how one server is spoken to.
type way interface {
	// advertised is what a server says first.
	advertised(ctx context.Context) (io.Reader, error)
	// upload sends a request and returns the answer, which ends with ctx.
	upload(ctx context.Context, request []byte) (io.Reader, error)
	io.Closer
}

func open(ctx context.Context, a Access, dial web.Dialer) (way, error) {
	if a.Remote.Scheme == "ssh" {
		return openShell(ctx, a, dial)
	}
	return openHTTPS(a, dial), nil
}

// advertised understands what a server advertises. A repository without a commit
// says nothing.
func advertised(ctx context.Context, w way, r source.Remote, limit int64) (*packp.AdvRefs, error) {
	said, err := w.advertised(ctx)
	if err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: said, N: limit}
	adv := packp.NewAdvRefs()
	switch err := adv.Decode(bufio.NewReader(bounded)); {
	case errors.Is(err, packp.ErrEmptyAdvRefs), errors.Is(err, packp.ErrEmptyInput):
		return packp.NewAdvRefs(), nil
	case err != nil && bounded.N <= 0:
		return nil, source.Fail(source.TooLarge, "%s lists more than %d MiB of branches and tags", r, limit>>20)
	case err != nil && ctx.Err() != nil:
		return nil, web.Unreached(r, ctx.Err())
	case err != nil:
		return nil, source.Fail(source.NoRepository, "%s does not speak as a Git repository: %s", r, word(err))
	}
	return adv, nil
}

// word is a server's own word of an error, if there is one.
func word(err error) string {
	var line *pktline.ErrorLine
	if errors.As(err, &line) {
		return source.Line(line.Text)
	}
	return source.Line(web.Steady(err).Error())
}

// refs are the branches and tags: hosts list every change that was ever
// proposed beside them.
func refs(adv *packp.AdvRefs) source.Refs {
	all := source.Refs{}
	add := func(name string, id plumbing.Hash) {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			all[name] = id.String()
		}
	}
	for name, id := range adv.References {
		add(name, id)
	}
	for name, id := range adv.Peeled { // what an annotated tag is of
		add(name, id)
	}
	if adv.Head != nil {
		all["HEAD"] = adv.Head.String()
	}
	return all
}

// weight is about what refs take in memory, in bytes.
func weight(refs source.Refs) int64 {
	const each = 128 // of the map, two strings and an ID
	var total int64
	for name := range refs {
		total += int64(len(name)) + each
	}
	return total
}

// wish is what is asked of a server.
type wish struct {
	commit plumbing.Hash
	// have are commits whose every file is here.
	have []plumbing.Hash
	// depth is how many commits back; filter leaves objects out, "" none.
	depth  int
	filter packp.Filter
}

// ask returns the pack of what was wished for.
func ask(ctx context.Context, w way, adv *packp.AdvRefs, r source.Remote, want wish) (io.Reader, error) {
	request := packp.NewUploadPackRequest()
	request.Wants, request.Haves = []plumbing.Hash{want.commit}, want.have
	capabilities := []capability.Capability{capability.OFSDelta, capability.NoProgress}
	if !adv.Capabilities.Supports(capability.Shallow) {
		return nil, source.Fail(source.NoRepository, "%s gives whole histories only; a server that knows shallow clones is needed", r)
	}
	capabilities = append(capabilities, capability.Shallow)
	request.Depth, request.Shallows, request.Filter = packp.DepthCommits(want.depth), want.have, want.filter
	if want.filter != "" {
		capabilities = append(capabilities, capability.Filter)
	}
	band := capability.Sideband64k
	if !adv.Capabilities.Supports(band) {
		band = capability.Sideband
	}
	for _, c := range append(capabilities, band) {
		if !adv.Capabilities.Supports(c) {
			continue
		}
		if err := request.Capabilities.Set(c); err != nil {
			return nil, fmt.Errorf("prepare a request: %w", err)
		}
	}
	body, err := encode(request)
	if err != nil {
		return nil, err
	}
	answer, err := w.upload(ctx, body)
	if err != nil {
		return nil, err
	}
	return pack(ctx, answer, request, r, want)
}

// encode says all at once, so that one round is enough for every server.
func encode(request *packp.UploadPackRequest) ([]byte, error) {
	var body bytes.Buffer
	if err := request.UploadRequest.Encode(&body); err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	if err := request.UploadHaves.Encode(&body, false); err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	if err := pktline.NewEncoder(&body).EncodeString("done\n"); err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	return body.Bytes(), nil
}

// maxPreface bounds what a server says before a pack, in bytes.
const maxPreface = 1 << 20

// pack reads what comes before it.
func pack(ctx context.Context, answer io.Reader, request *packp.UploadPackRequest, r source.Remote, want wish) (io.Reader, error) {
	response := packp.NewUploadPackResponse(request)
	// All of it is kept, so it must end; the pack after it has its own bounds.
	bounded := &io.LimitedReader{R: answer, N: maxPreface}
	err := response.Decode(io.NopCloser(bounded))
	if bounded.N <= 0 {
		return nil, source.Fail(source.NoRepository, "%s says more than %d MiB before it sends a commit", r, maxPreface>>20)
	}
	bounded.N = math.MaxInt64
	if err != nil {
		if ctx.Err() != nil {
			return nil, web.Unreached(r, ctx.Err())
		}
		var line *pktline.ErrorLine
		if errors.As(err, &line) {
			return nil, source.Fail(source.RefNotFound, "%s gives no commit %s: %s; a server that lets nobody ask for a commit by its ID gives the tips of branches and tags only", r, source.ShortID(want.commit.String()), source.Line(line.Text))
		}
		return nil, source.Fail(source.Unreachable, "%s ended the fetch: %s", r, word(err))
	}
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, response), nil
	case request.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, response), nil
	}
	return response, nil
}
