package podman

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
)

// rootful is where the service of the system's Podman listens.
const rootful = "unix:///run/podman/podman.sock"

// URL is where Podman's service is to be found: what flag says, else CONTAINER_HOST, else the system's own socket for
// root and that of the user's Podman for anybody else. The error says what is wrong with the flag or the variable;
// whether anybody listens there is not looked at.
func URL(flag string, getenv func(string) string) (string, error) {
	given, from := flag, "the Podman URL"
	if given == "" {
		given, from = getenv("CONTAINER_HOST"), "CONTAINER_HOST"
	}
	if given == "" {
		return socket(os.Getuid(), getenv), nil
	}
	u, err := url.Parse(given)
	if err != nil {
		return "", fmt.Errorf("%s: %w", from, err)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "", u.Scheme == "tcp" && u.Host != "", u.Scheme == "ssh" && u.Host != "":
		return given, nil
	}
	return "", fmt.Errorf("%s is %q: want unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST/PATH", from, given)
}

func socket(uid int, getenv func(string) string) string {
	if uid == 0 {
		return rootful
	}
	dir := getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(uid)
	}
	return "unix://" + dir + "/podman/podman.sock"
}
