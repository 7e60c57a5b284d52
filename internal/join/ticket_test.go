package join

import (
	"strings"
	"testing"
)

var ticket = Ticket{Cluster: "us-east-1", Token: "atoll1.us-east-1.secret", Address: "hub.example:7444", Roots: "pinned"}

func TestATicketSurvivesItsFile(t *testing.T) {
	data, err := ticket.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseTicket(data)
	if err != nil || got != ticket {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestATicketNamesEveryFieldThatIsMissing(t *testing.T) {
	_, err := ParseTicket([]byte("address: nowhere\n"))
	for _, want := range []string{"no cluster", "no token", "no roots", `"nowhere" is not host:port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestATicketRefusesUnknownFields(t *testing.T) {
	if _, err := ParseTicket([]byte("cluster: a\ntokn: b\n")); err == nil || !strings.Contains(err.Error(), "tokn") {
		t.Fatalf("got %v", err)
	}
}

func FuzzParseTicket(f *testing.F) {
	f.Add([]byte("cluster: a\ntoken: b\naddress: c:1\nroots: d\n"))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseTicket(data)
		if err == nil && got.Check() != nil {
			t.Fatalf("an incomplete ticket passed: %+v", got)
		}
	})
}
