/** A cycle takes a fifth of a second. Whoever has no power cut after this long waits for something that doesn't come. */
export const STUCK_MS = 120_000;
/** Silence of a machine that means that it hangs: it speaks every few cuts, and gives up waiting for one by itself before. */
export const SILENCE_MS = 2 * STUCK_MS;
