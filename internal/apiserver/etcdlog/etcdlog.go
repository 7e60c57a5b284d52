// Package etcdlog keeps the API server's etcd clients from writing to standard
// error, which belongs to the hub's user: they report every request that its
// caller cancels, at each stop of the server for instance. Failures that matter
// come back as errors.
//
// The clients' logger is built when a package of the API server is initialized,
// from etcd's default configuration, and cannot be replaced afterwards. So that
// default must be changed before. Go initializes, of the packages that are
// ready, the one whose import path sorts first, and atoll.dev comes before
// k8s.io; this package must import little to stay ready early.
package etcdlog

import "go.etcd.io/etcd/client/pkg/v3/logutil"

func init() {
	logutil.DefaultZapLoggerConfig.OutputPaths = nil
}
