package lb_test

import (
	"io"
	"net/http"
	"os"
)

// serveVar has the test program be a web server on that port, as a process that can be
// killed; the same with _NAME is what it answers.
const serveVar = "GOLB_TEST_SERVE"

func serveProcess(port string) error {
	return http.ListenAndServe(":"+port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, os.Getenv(serveVar+"_NAME"))
	}))
}
