package client

// DNSAllow is the list of names outside of the cluster that may be resolved, or what came of changing it.
type DNSAllow struct {
	Enabled bool     `json:"enabled"` // the list holds
	Hosts   []string `json:"hosts"`
	Changed bool     `json:"changed"` // false: it was so already, or was only asked for
	Commit  string   `json:"commit"`
	Index   uint64   `json:"index"`
}
