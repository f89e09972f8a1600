import { randomBytes } from "node:crypto";

/**
 * A host certificate's serial number says which life of the host's identity it belongs to, and which certificate of that
 * life it is (docs/decisions/0035). So one row a host is all that must be kept to know every certificate that was ever
 * issued to it: a new life begins with every join, and those before it are over.
 */
export interface HostSerial {
  readonly generation: number;
  readonly sequence: number;
}

/** The first byte tells what a certificate is for, and keeps the number positive and of one length. */
const HOST = 0x01;
const OTHER = 0x02;
const BYTES = 16;
const MOST = 0xffff_ffff;

/** 16 bytes in hex, 7 of them random. */
export function writeSerial({ generation, sequence }: HostSerial): string {
  if (generation > MOST || sequence > MOST) throw new RangeError("a serial number counts to 32 bits");
  const bytes = Buffer.alloc(BYTES);
  bytes[0] = HOST;
  bytes.writeUInt32BE(generation, 1);
  bytes.writeUInt32BE(sequence, 5);
  randomBytes(BYTES - 9).copy(bytes, 9);
  return bytes.toString("hex");
}

/** Null for a number that is of no host. */
export function readSerial(hex: string): HostSerial | null {
  if (!/^[0-9a-f]{32}$/.test(hex)) return null;
  const bytes = Buffer.from(hex, "hex");
  if (bytes[0] !== HOST) return null;
  return { generation: bytes.readUInt32BE(1), sequence: bytes.readUInt32BE(5) };
}

/** Of belayd's own certificates, and of authorities. */
export function otherSerial(): string {
  const bytes = randomBytes(BYTES);
  bytes[0] = OTHER;
  return bytes.toString("hex");
}
