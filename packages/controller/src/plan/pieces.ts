/**
 * Work that is done piece by piece, a few milliseconds each, so that whoever has others to serve can do so in between. It hangs
 * on nothing but what it was given: done at once or not, the same comes out.
 */
export type Pieces<T> = Generator<void, T, void>;

/** All of it, for those who serve nobody else. */
export function atOnce<T>(pieces: Pieces<T>): T {
  for (;;) {
    const step = pieces.next();
    if (step.done === true) return step.value;
  }
}
