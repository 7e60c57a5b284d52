// Package release decides what a release of Atoll consists of beside its source,
// and how it lies in a folder: images with bills of materials, and charts. What
// an image is made of is internal/imagebuild's. It signs nothing.
package release
