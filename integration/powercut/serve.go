package main

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// shelf is a folder in which disks are files, so that the kernel can put a loop device and a file system on each. What
// it writes and flushes comes to this process.
type shelf struct {
	dir    string
	root   fs.Inode
	server *fuse.Server
	next   int
}

// openShelf mounts the folder at dir.
func openShelf(dir string) (*shelf, error) {
	s := &shelf{dir: dir}
	var err error
	s.server, err = fs.Mount(dir, &s.root, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: "powercut", Name: "powercut", MaxWrite: 1 << 20,
	}})
	if err != nil {
		return nil, fmt.Errorf("serve disks at %s: %w", dir, err)
	}
	return s, nil
}

// put makes the disk a file and returns its path. The kernel remembers what it has read of a file, so each disk gets a
// name that none had before.
func (s *shelf) put(d *disk) (path string) {
	s.next++
	name := fmt.Sprintf("disk-%d", s.next)
	s.root.AddChild(name, s.root.NewPersistentInode(context.Background(), &diskFile{d: d}, fs.StableAttr{Mode: syscall.S_IFREG}), true)
	return filepath.Join(s.dir, name)
}

// take removes the file of a disk that nobody uses any more.
func (s *shelf) take(path string) { s.root.RmChild(filepath.Base(path)) }

// close unmounts the folder. No disk may be in use.
func (s *shelf) close() error {
	if err := s.server.Unmount(); err != nil {
		return fmt.Errorf("stop serving disks at %s: %w", s.dir, err)
	}
	return nil
}

// diskFile is a disk as a file.
type diskFile struct {
	fs.Inode
	d *disk
}

var (
	_ fs.NodeOpener    = (*diskFile)(nil)
	_ fs.NodeGetattrer = (*diskFile)(nil)
	_ fs.NodeSetattrer = (*diskFile)(nil)
	_ fs.NodeReader    = (*diskFile)(nil)
	_ fs.NodeWriter    = (*diskFile)(nil)
	_ fs.NodeFsyncer   = (*diskFile)(nil)
)

// Open lets anybody.
func (f *diskFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

// Getattr says how large the disk is.
func (f *diskFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size, out.Blksize = syscall.S_IFREG|0o600, uint64(f.d.size), pageSize
	out.Blocks = uint64(f.d.size) / sectorSize
	return 0
}

// Setattr changes nothing, and refuses another size: mkfs asks for the one there is.
func (f *diskFile) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok && size != uint64(f.d.size) {
		return syscall.EPERM
	}
	return f.Getattr(ctx, h, out)
}

// Read reads the disk.
func (f *diskFile) Read(_ context.Context, _ fs.FileHandle, b []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= f.d.size {
		return fuse.ReadResultData(nil), 0
	}
	b = b[:min(int64(len(b)), f.d.size-off)]
	f.d.read(b, off)
	return fuse.ReadResultData(b), 0
}

// Write writes the disk.
func (f *diskFile) Write(_ context.Context, _ fs.FileHandle, b []byte, off int64) (uint32, syscall.Errno) {
	if off+int64(len(b)) > f.d.size {
		return 0, syscall.ENOSPC
	}
	f.d.write(b, off)
	return uint32(len(b)), 0
}

// Fsync is what a flush of the loop device comes to.
func (f *diskFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.d.flush()
	return 0
}
