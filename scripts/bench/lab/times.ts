/** How long one way took over all hosts. Milliseconds. */
export interface StageTimes {
  /** From the command to its end. */
  readonly wholeMs: number;
  /**
   * From the moment before the first host's link is switched to the moment when the last one answers, ready, with the new
   * version; the time in which it then must stay so is not in it.
   */
  readonly cutOverMs: number;
  /** The same on the slowest host alone. */
  readonly slowestHostMs: number;
}

/** Of each host: when its cut-over began and ended, by the one clock that all of them share. */
export function cutOverOf(spans: readonly (readonly [beganMs: number, endedMs: number])[]) {
  const began = Math.min(...spans.map(([at]) => at));
  const ended = Math.max(...spans.map(([, at]) => at));
  return { cutOverMs: ended - began, slowestHostMs: Math.max(...spans.map(([from, to]) => to - from)) };
}
