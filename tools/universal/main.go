// Command universal joins programs for macOS into one that runs on both of its processors: the cf command
// knows one macOS, and Apple's own tool for this runs nowhere else.
package main

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: universal OUTPUT PROGRAM...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "universal:", err)
		os.Exit(1)
	}
}

func run(output string, programs []string) error {
	var all [][]byte
	for _, p := range programs {
		program, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		all = append(all, program)
	}
	joined, err := join(all)
	if err != nil {
		return err
	}
	return os.WriteFile(output, joined, 0o755)
}

// pageBits is the alignment that the loader wants of each program: pages of 16 KB on Apple's processors.
const pageBits = 14

// join puts programs behind a table of them (mach-o/fat.h), each at the beginning of a page.
func join(programs [][]byte) ([]byte, error) {
	header := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
	header = binary.BigEndian.AppendUint32(header, uint32(len(programs)))
	var body bytes.Buffer
	const page = 1 << pageBits
	for _, p := range programs {
		f, err := macho.NewFile(bytes.NewReader(p))
		if err != nil {
			return nil, fmt.Errorf("not a program for macOS: %w", err)
		}
		for _, field := range []uint32{uint32(f.Cpu), f.SubCpu, uint32(page + body.Len()), uint32(len(p)), pageBits} {
			header = binary.BigEndian.AppendUint32(header, field)
		}
		body.Write(p)
		body.Write(make([]byte, -body.Len()&(page-1)))
	}
	joined := make([]byte, page, page+body.Len()) // the table has the first page
	copy(joined, header)
	return append(joined, body.Bytes()...), nil
}
