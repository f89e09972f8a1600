import { setTimeout as sleep } from "node:timers/promises";

const LOOK_AGAIN_MS = 50;

/** Looks again and again until `look` answers true; what it answers instead is in the error. */
export async function until(look: () => Promise<true | unknown>, what: string, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await look();
    if (answer === true) return;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}: ${String(answer)}`);
    await sleep(LOOK_AGAIN_MS);
  }
}
