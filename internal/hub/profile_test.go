package hub

import "testing"

func TestProfilesAreForThisMachineOnly(t *testing.T) {
	for address, allowed := range map[string]bool{
		"127.0.0.1:6060": true,
		"[::1]:6060":     true,
		"127.8.9.1:6060": true,
		"0.0.0.0:6060":   false,
		":6060":          false,
		"localhost:6060": false, // what a name leads to is another's to say
		"10.1.2.3:6060":  false,
		"127.0.0.1":      false,
	} {
		if err := loopbackOnly(address); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}
