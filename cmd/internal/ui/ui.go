// Package ui is the page that the agent serves at /ui: hosts and whether they agree, Deployments and their replicas, the events
// as they come, the last recovery, the backups, and all of it as it was at an earlier moment.
//
// It is a page of plain HTML, CSS and JavaScript that stands in the binary, asks the API of the same agent, and changes nothing:
// what there is to do it names as a command. Nothing is loaded from elsewhere, so it works without a network, and nothing is built.
package ui

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var files embed.FS

// policy has a browser load and ask nothing but what comes from the agent itself, and show the page in nobody's frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'"

// Handler serves the page under /ui/. It holds nothing of the cluster: who sees the page has yet to be let see that by the API.
func Handler() http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil { // of a name that is not valid
		panic(err)
	}
	static := http.StripPrefix("/ui/", http.FileServerFS(page))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		static.ServeHTTP(w, r)
	})
}
