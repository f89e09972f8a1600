import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** A WebSocket of which every byte is made by hand. */
export class RawSocket {
  readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
  }

  /** As far as the upgrade's answer. */
  static async open(address: string, token: string): Promise<RawSocket> {
    const raw = await RawSocket.knock(address);
    raw.socket.write(upgradeRequest(token));
    await Promise.race([once(raw.socket, "data"), once(raw.socket, "close"), wait(2000)]).catch(() => {});
    return raw;
  }

  static async knock(address: string): Promise<RawSocket> {
    const { hostname, port } = new URL(address);
    const socket = connect(Number(port), hostname);
    const raw = new RawSocket(socket);
    await Promise.race([once(socket, "connect"), once(socket, "close")]).catch(() => {});
    return raw;
  }

  /** One frame, as its parts say, right or wrong. */
  frame(payload: Buffer | string, { opcode = 1, fin = true, masked = true, reserved = 0, length = -1 } = {}): void {
    const body = Buffer.from(payload);
    const size = length < 0 ? body.length : length;
    const head = [(fin ? 0x80 : 0) | (reserved << 4) | opcode];
    if (size < 126) head.push((masked ? 0x80 : 0) | size);
    else {
      const wide = Buffer.alloc(8);
      wide.writeBigUInt64BE(BigInt(size));
      head.push((masked ? 0x80 : 0) | 127, ...wide);
    }
    const mask = randomBytes(4);
    const hidden = masked ? body.map((byte, at) => byte ^ (mask[at % 4] ?? 0)) : body;
    this.#write(Buffer.concat([Buffer.from(head), ...(masked ? [mask] : []), hidden]));
  }

  say(text: string): void {
    this.frame(text);
  }

  /** Settles when all that was written is with the other side, or the other side is gone; then hangs up. */
  async flushed(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.socket.destroyed) resolve();
      this.socket.once("close", () => resolve());
      this.socket.end();
    });
  }

  breakOff(): void {
    this.frame("half", { length: 1000 });
    this.end();
  }

  /** Asks for so many answers, and reads none of them. */
  ignoreAnswers(count: number): void {
    this.socket.pause();
    times(count, () => this.frame("p".repeat(100), { opcode: 9 }));
  }

  end(): void {
    this.socket.destroy();
  }

  #write(bytes: Buffer): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }
}

export function upgradeRequest(token: string, more = ""): string {
  return `GET /v1/agent HTTP/1.1\r\nHost: belayd\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Protocol: belay.2\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;
}

/** What can be done to a socket below the messages. Each gets one that has said hello. */
export const RAW_ATTACKS: readonly { readonly name: string; readonly run: (raw: RawSocket, hello: string) => void }[] =
  [
    { name: "a frame that claims to be of an exabyte", run: (raw) => raw.frame("x", { length: 2 ** 50 }) },
    { name: "a frame of two mebibytes", run: (raw) => raw.frame(Buffer.alloc(2 * 1024 * 1024, "x")) },
    { name: "fragments without end", run: (raw) => fragments(raw) },
    {
      name: "fragments of one byte",
      run: (raw) => times(1000, (n) => raw.frame("x", { opcode: n === 0 ? 1 : 0, fin: false })),
    },
    { name: "a continuation of nothing", run: (raw) => raw.frame("x", { opcode: 0 }) },
    { name: "no UTF-8", run: (raw) => raw.frame(Buffer.from([0xff, 0xfe, 0xc0])) },
    { name: "an unknown opcode", run: (raw) => raw.frame("x", { opcode: 11 }) },
    { name: "reserved bits: compressed, though nobody agreed to it", run: (raw) => raw.frame("x", { reserved: 4 }) },
    { name: "no mask", run: (raw) => raw.frame("x", { masked: false }) },
    { name: "a long ping", run: (raw) => raw.frame(Buffer.alloc(200), { opcode: 9 }) },
    { name: "a flood of pings", run: (raw) => times(2000, () => raw.frame("p", { opcode: 9 })) },
    { name: "a flood of pongs", run: (raw) => times(2000, () => raw.frame("p", { opcode: 10 })) },
    {
      name: "a close, and then more",
      run: (raw, hello) =>
        times(50, (n) => raw.frame(n === 0 ? Buffer.from([3, 232]) : hello, { opcode: n === 0 ? 8 : 1 })),
    },
    { name: "a close with a code that nobody may send", run: (raw) => raw.frame(Buffer.from([3, 237]), { opcode: 8 }) },
    { name: "hello, a thousand times", run: (raw, hello) => times(1000, () => raw.say(hello)) },
    { name: "an end in the middle of a frame", run: (raw) => raw.breakOff() },
    { name: "its own half closed", run: (raw) => raw.socket.end() },
    {
      name: "nothing read, much asked",
      run: (raw) => raw.ignoreAnswers(5000),
    },
    { name: "silence", run: () => {} },
  ];

function fragments(raw: RawSocket): void {
  const piece = Buffer.alloc(64 * 1024, "x");
  times(40, (n) => raw.frame(piece, { opcode: n === 0 ? 1 : 0, fin: false }));
}

function times(count: number, work: (n: number) => void): void {
  for (let n = 0; n < count; n += 1) work(n);
}
