package apiserver

import (
	"io"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	_ "atoll.dev/atoll/internal/apiserver/etcdlog" // Silences etcd clients before they exist.
)

// setLog sends what Kubernetes' libraries log to w. They share one logger in a
// process, and at the start and end of a server they report many errors that
// mend themselves, so none of it belongs on a user's terminal.
func setLog(w io.Writer) {
	klog.SetLogger(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(w), textlogger.Verbosity(0))))
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
}
