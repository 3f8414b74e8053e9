package podman

// Spec is a container to be made, in the words of Podman's REST API (its SpecGenerator), as far as they are used.
type Spec struct {
	Name          string            `json:"name"`
	Image         string            `json:"image"`
	Labels        map[string]string `json:"labels,omitempty"`
	RestartPolicy string            `json:"restart_policy"` // always "no": the Reconciler is the only one that restarts
	StopTimeout   uint              `json:"stop_timeout"`   // seconds

	Entrypoint       []string          `json:"entrypoint,omitempty"`
	Command          []string          `json:"command,omitempty"`
	Env              map[string]string `json:"env,omitempty"`
	WorkDir          string            `json:"work_dir,omitempty"`
	CreateWorkingDir bool              `json:"create_working_dir,omitempty"`

	Hostname     string        `json:"hostname,omitempty"`
	UTSNS        *Namespace    `json:"utsns,omitempty"`
	NetNS        *Namespace    `json:"netns,omitempty"`
	PortMappings []PortMapping `json:"portmappings,omitempty"`
	DNSServers   []string      `json:"dns_server,omitempty"`
	DNSSearch    []string      `json:"dns_search,omitempty"`
	DNSOptions   []string      `json:"dns_option,omitempty"`
	HostAdd      []string      `json:"hostadd,omitempty"` // NAME:IP

	Mounts  []Mount       `json:"mounts,omitempty"`
	Volumes []NamedVolume `json:"volumes,omitempty"`

	User               string   `json:"user,omitempty"` // UID or UID:GID
	Groups             []string `json:"groups,omitempty"`
	CapAdd             []string `json:"cap_add,omitempty"`
	CapDrop            []string `json:"cap_drop,omitempty"`
	Privileged         bool     `json:"privileged,omitempty"`
	NoNewPrivileges    bool     `json:"no_new_privileges,omitempty"`
	ReadOnlyFilesystem bool     `json:"read_only_filesystem,omitempty"`

	Resources *Resources `json:"resource_limits,omitempty"`
}

// Namespace says which namespace of one sort a container gets.
type Namespace struct {
	Mode  string `json:"nsmode"`          // host, bridge, container, private, …
	Value string `json:"value,omitempty"` // of container: its id
}

// PortMapping publishes one port of a container.
type PortMapping struct {
	HostIP    string `json:"host_ip,omitempty"`
	Container uint16 `json:"container_port"`
	Host      uint16 `json:"host_port"`
	Protocol  string `json:"protocol"` // tcp, udp, sctp
}

// Mount is a mount that is no named volume.
type Mount struct {
	Type        string   `json:"type"` // bind, tmpfs
	Source      string   `json:"source,omitempty"`
	Destination string   `json:"destination"`
	Options     []string `json:"options,omitempty"`
}

// NamedVolume mounts a volume of Podman's.
type NamedVolume struct {
	Name    string
	Dest    string
	Options []string
}

// Resources limit what a container may use.
type Resources struct {
	Memory *Memory `json:"memory,omitempty"`
	CPU    *CPU    `json:"cpu,omitempty"`
}

// Memory is in bytes.
type Memory struct {
	Limit       int64 `json:"limit,omitempty"`
	Swap        int64 `json:"swap,omitempty"` // memory and swap together
	Reservation int64 `json:"reservation,omitempty"`
}

// CPU is quota of each period, in microseconds, and shares relative to those of other containers.
type CPU struct {
	Quota  int64  `json:"quota,omitempty"`
	Period uint64 `json:"period,omitempty"`
	Shares uint64 `json:"shares,omitempty"`
}
