// Package archtest states which package may import which, each arrow with its
// reason, and its test holds the module to them. It decides nothing at run time.
package archtest
