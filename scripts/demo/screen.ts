/** One line for the person who watches. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function heading(text: string): void {
  const bold = process.stdout.isTTY && process.env.NO_COLOR === undefined;
  say(bold ? `\n\u001b[1m== ${text}\u001b[0m` : `\n== ${text}`);
}

/** Seconds since then, as `4.2 s`. */
export function since(then: number): string {
  return `${((Date.now() - then) / 1000).toFixed(1)} s`;
}
