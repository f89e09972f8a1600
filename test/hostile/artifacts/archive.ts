import { gzipSync } from "node:zlib";

const BLOCK = 512;

/** One entry as the header says it, true or not. */
export interface Raw {
  path: string | Buffer;
  /** The type's one character: 0 file, 1 hard link, 2 symbolic link, 3 and 4 devices, 5 folder, 6 FIFO, x and g pax ... */
  type?: string;
  mode?: number;
  uid?: number;
  link?: string | Buffer;
  content?: string | Buffer;
  /** What the header says of the content's size, where that is not the truth. */
  size?: number | Buffer;
  prefix?: string;
}

/** A tar header byte by byte, because no honest tool writes what is needed here. */
export function entry({
  path,
  type = "0",
  mode = 0o644,
  uid = 0,
  link = "",
  content = "",
  size,
  prefix = "",
}: Raw): Buffer {
  const body = Buffer.from(content);
  const header = Buffer.alloc(BLOCK);
  put(header, 0, 100, path);
  put(header, 100, 8, octal(mode, 7));
  put(header, 108, 8, octal(uid, 7));
  put(header, 116, 8, octal(uid, 7));
  put(header, 124, 12, typeof size === "object" ? size : octal(size ?? body.length, 11));
  put(header, 136, 12, octal(0, 11));
  put(header, 148, 8, "        ");
  put(header, 156, 1, type);
  put(header, 157, 100, link);
  put(header, 257, 8, "ustar\0" + "00");
  put(header, 345, 130, prefix);
  put(header, 148, 8, `${octal(sum(header), 6)}\0 `);
  return Buffer.concat([header, padded(body)]);
}

/** An extended header for the next entry (x) or for all that follow (g). */
export function pax(records: Readonly<Record<string, string>>, type: "x" | "g" = "x"): Buffer {
  const lines = Object.entries(records).map(([key, value]) => paxRecord(`${key}=${value}`));
  return entry({ path: "PaxHeader/entry", type, content: lines.join("") });
}

/** GNU's way to say a name that is too long for a header. */
export function gnuLong(name: string, type: "L" | "K" = "L"): Buffer {
  return entry({ path: "././@LongLink", type, content: `${name}\0` });
}

/** A number as GNU writes it where octal digits don't do; negative ones too. */
export function base256(value: bigint): Buffer {
  const bytes = Buffer.alloc(12);
  let rest = BigInt.asUintN(96, value);
  for (let at = 11; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  bytes[0] = value < 0n ? 0xff : 0x80;
  return bytes;
}

export const END = Buffer.alloc(2 * BLOCK);

/** A whole archive, compressed. */
export function packed(...parts: Buffer[]): Buffer {
  return gzipSync(Buffer.concat([...parts, END]));
}

export function padded(body: Buffer): Buffer {
  return Buffer.concat([body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)]);
}

function paxRecord(said: string): string {
  const rest = Buffer.byteLength(said) + 2;
  let length = rest;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return `${length} ${said}\n`;
}

function put(header: Buffer, at: number, room: number, what: string | Buffer): void {
  Buffer.from(what).copy(header, at, 0, room);
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}

function sum(header: Buffer): number {
  return header.reduce((total, byte) => total + byte, 0);
}
