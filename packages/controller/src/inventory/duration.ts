const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds in a duration such as `500ms`, `10s`, `5m`, `24h` or `7d`; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text.trim());
  const unit = UNIT_MS[match?.[2] ?? ""];
  return unit === undefined ? null : Number(match?.[1]) * unit;
}

/** The shortest whole form: `90000` is `90s`, `86400000` is `1d`. */
export function formatDuration(ms: number): string {
  const unit = Object.entries(UNIT_MS)
    .reverse()
    .find(([, length]) => ms >= length && ms % length === 0);
  return unit === undefined ? `${ms}ms` : `${ms / unit[1]}${unit[0]}`;
}
