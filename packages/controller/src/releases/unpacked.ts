/** A bomb packed into a small file must not fill the disk: a release unpacks to a few times its size, never to this. */
const MARGIN = 4;
const FLOOR_BYTES = 256 * 1024 * 1024;
/** What a release's programs are packed to, where its profile doesn't say. */
const PER_PACKED = 5;

/** What an artifact may be expected to unpack to, in bytes. */
export function unpackedBytes(size: number, perPacked: number = PER_PACKED): number {
  return Math.ceil(size * perPacked);
}

/** What it may never unpack to. */
export function maxUnpackedBytes(size: number, perPacked?: number): number {
  return FLOOR_BYTES + MARGIN * unpackedBytes(size, perPacked);
}
