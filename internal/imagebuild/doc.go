// Package imagebuild makes OCI images of static programs, without a container
// engine: one layer with one file, on nothing. It decides what such an image
// holds and says about itself, so that the same program always gives the same
// digest, on any machine and at any time: no clocks, no user names, no order of
// a folder. Beside each image goes a bill of materials that is read from the
// program itself.
//
// Compiling the programs is left to the caller, and so is which versions of them
// make a release.
package imagebuild
