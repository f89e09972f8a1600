import { errorInfo } from "@belay/shared";

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Goes to stderr, so that `--json` stays readable. */
export function complain(thrown: unknown): void {
  const { code, message, hint } = errorInfo(thrown);
  process.stderr.write(`bench: ${message} (${code})\n${hint === undefined ? "" : `  ${hint}\n`}`);
}

/** Rows as columns of equal width: the first to the left, the others, which are figures, to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  "),
  );
}

/** `1,234` or, where a digit behind the point says something, `12.3`. */
export function figure(value: number, digits = 0): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
