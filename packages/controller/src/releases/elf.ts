/** As much of a program as says what it is made for. */
export const PROGRAM_HEAD_BYTES = 20;

const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);
/** ELF's numbers of machines, by the names that releases have for them. */
const MACHINES: Readonly<Record<number, string>> = { 3: "386", 40: "arm", 62: "amd64", 183: "arm64" };

/** The machines that a program is made for, by its first bytes; null: it is no ELF file, such as a script. */
export function archOfProgram(head: Buffer): string | null {
  if (head.length < PROGRAM_HEAD_BYTES || !head.subarray(0, MAGIC.length).equals(MAGIC)) return null;
  const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
  return MACHINES[machine] ?? `machine ${machine}`;
}
