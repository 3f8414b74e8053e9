package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is what the figures were measured on.
type machine struct {
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Memory int64     `json:"memory"` // bytes
	Kernel string    `json:"kernel"`
	FS     string    `json:"fs"`
	Device string    `json:"device"`
	Go     string    `json:"go"`
	Load   string    `json:"load"`
	At     time.Time `json:"at"`
}

// look describes the machine, and the disk that dir is on.
func look(dir string) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOARCH, At: time.Now()}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(u.Release[:])
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return m, err
	}
	m.Memory = int64(s.Totalram) * int64(s.Unit)
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	m.CPU = "CPU of unknown model"
	err = lines("/proc/cpuinfo", func(line string) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
		}
	})
	if err != nil {
		return m, err
	}
	return m, m.disk(dir)
}

// disk finds the mount that dir is on: of those that begin its path, the longest, and of equal ones the last.
func (m *machine) disk(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	longest := ""
	return lines("/proc/self/mounts", func(line string) {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < len(longest) || !strings.HasPrefix(dir+"/", strings.TrimSuffix(f[1], "/")+"/") {
			return
		}
		longest, m.Device, m.FS = f[1], f[0], f[2]
	})
}

func lines(file string, each func(string)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		each(s.Text())
	}
	return s.Err()
}

// numbers reads a file of the kernel with a name, a colon and a number on each line, as /proc/self/io is.
func numbers(file string) (map[string]int64, error) {
	all := map[string]int64{}
	err := lines(file, func(line string) {
		name, value, _ := strings.Cut(line, ":")
		if f := strings.Fields(value); len(f) > 0 {
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				all[name] = n
			}
		}
	})
	return all, err
}
