// Package record is the encoding of everything that Ayder keeps: the frame that one
// group commit becomes, the sections inside it, and the records inside those. The same
// bytes are written to the log, shipped to other nodes, replayed after a crash and read
// by consumers; nothing is encoded twice.
//
// All integers are little-endian. A frame starts on an 8-byte boundary of its segment and
// occupies its size rounded up to 8; the padding is zero.
//
//	frame header, 64 bytes
//	 0 magic u32 | 4 crc u32 | 8 size u32 | 12 sections u32 | 16 index u64 | 24 term u64
//	32 time_ms u64 | 40 staged u64 | 48 durable u64 | 56 kind u8 | 57 flags u8 | 58 group u16 | 60 zero u32
//
//	crc      CRC-32C of bytes 8 … size, seeded with the segment's random seed, so that bytes
//	         left behind by another life of the file never pass
//	size     header and payload, without padding
//	time_ms  the leader's clock, monotone along the log
//	staged   highest index known to be committed by a majority when the frame was made
//	durable  highest index known to be on this disk when the frame was made: a damaged
//	         frame at or below a later frame's mark was damaged after its sync
//
//	section header, 32 bytes; sections are 8-byte aligned, padding zero
//	 0 size u32 | 4 type u8 | 5 flags u8 | 6 zero u16 | 8 topic u32 | 12 partition u32
//	16 base u64 | 24 count u32 | 28 zero u32
//
//	record header, 24 bytes; records follow each other without padding
//	 0 size u32 | 4 flags u8 | 5 zero u8 | 6 idem_size u16 | 8 time_ms u64 | 16 key_size u32 | 20 headers_size u32
//	24 key | idempotency key | headers | value
//
//	header of a record: name_size u16 | value_size u32 | name | value
//
// A section of type SectionRecords holds count records with the offsets base … base+count-1 of
// one partition. Other types are commands: one body, whose meaning belongs to the engine.
package record
