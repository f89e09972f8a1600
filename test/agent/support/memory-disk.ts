import type { JournalDisk } from "@belay/agent";

/** A disk in memory that counts fsyncs, can fill up, and can refuse to sync. */
export class MemoryDisk implements JournalDisk {
  readonly file = "journal";
  bytes: Buffer;
  syncs = 0;
  replaced = 0;
  /** Bytes it still has room for. */
  room = Number.POSITIVE_INFINITY;
  syncFails = false;

  constructor(bytes: Buffer = Buffer.alloc(0)) {
    this.bytes = Buffer.from(bytes);
  }

  async read(): Promise<Buffer> {
    return this.bytes;
  }

  async truncate(bytes: number): Promise<void> {
    this.bytes = this.bytes.subarray(0, bytes);
  }

  async append(bytes: Buffer): Promise<void> {
    const taken = bytes.subarray(0, this.room);
    this.bytes = Buffer.concat([this.bytes, taken]);
    this.room -= taken.length;
    if (taken.length < bytes.length)
      throw Object.assign(new Error("no space left"), { code: "ENOSPC", syscall: "write" });
  }

  async sync(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.syncs += 1;
    if (this.syncFails) throw Object.assign(new Error("i/o error"), { code: "EIO", syscall: "fsync" });
  }

  async replace(bytes: Buffer): Promise<void> {
    this.bytes = Buffer.from(bytes);
    this.replaced += 1;
  }

  async close(): Promise<void> {}
}
