// Package seal seals backups with age (age-encryption.org), so that whoever gets hold of one cannot read it, and opens
// them. What it writes, the age tool opens, and the other way round.
//
// It knows nothing of what it seals, keeps no key, and writes none anywhere.
package seal
