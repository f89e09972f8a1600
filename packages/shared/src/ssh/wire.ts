import { BelayError } from "../error.js";

/** Reads what SSH writes (RFC 4251, 5): big-endian numbers, strings behind their length. Throws `ssh-malformed`. */
export class SshReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  bytes(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw this.bad("ends too early");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE();
  }

  uint8(): number {
    return this.bytes(1).readUInt8();
  }

  string(): Buffer {
    return this.bytes(this.uint32());
  }

  text(): string {
    const bytes = this.string();
    const text = bytes.toString("utf8");
    if (!Buffer.from(text).equals(bytes)) throw this.bad("has a text that is not UTF-8");
    return text;
  }

  /** A number that is not negative, in as few bytes as it takes. */
  mpint(): Buffer {
    const bytes = this.string();
    const [first = 0, second = 0] = bytes;
    if (first >= 0x80) throw this.bad("has a negative number");
    if (bytes.length > 0 && first === 0 && second < 0x80) throw this.bad("has a number with zeros in front");
    return first === 0 ? bytes.subarray(1) : bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Nothing may follow: what nobody reads, nobody has checked. */
  end(): void {
    if (this.left > 0) throw this.bad(`has ${this.left} bytes too many`);
  }

  bad(what: string): BelayError {
    return new BelayError("ssh-malformed", `the ${this.#what} ${what}`);
  }
}

export function sshString(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([sshUint32(bytes.length), bytes]);
}

export function sshUint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A number of any length that is not negative. */
export function sshMpint(value: Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  const begin = bytes.findIndex((byte) => byte !== 0);
  const short = begin === -1 ? Buffer.alloc(0) : bytes.subarray(begin);
  return sshString((short[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.alloc(1), short]) : short);
}

/** A number in just so many bytes; null where it takes more. */
export function padded(number: Buffer, length: number): Buffer | null {
  return number.length > length ? null : Buffer.concat([Buffer.alloc(length - number.length), number]);
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Base64 as it is written, and in no other way; null for anything else. */
export function strictBase64(text: string): Buffer | null {
  if (!BASE64.test(text)) return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}
