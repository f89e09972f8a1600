import { open } from "node:fs/promises";

/** Turns one bit of a file round; a second call mends it. */
export async function flipBit(path: string, at: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte.writeUInt8(byte.readUInt8(0) ^ 1, 0);
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
}
