import { pad, wrap } from "./text.js";

const LABEL_COLUMNS = 12;

/** Lines under one label: the label stands before the first, the others are indented as far. */
export function labelled(label: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => `${pad(index === 0 ? label : "", LABEL_COLUMNS)}${line}`);
}

/** As `labelled`, for prose that may be broken anywhere. `paint` is put on each line by itself. */
export function labelledText(
  label: string,
  text: string,
  columns: number,
  paint: (line: string) => string = (line) => line,
): string[] {
  return labelled(label, wrap(text, Math.max(40, columns - LABEL_COLUMNS)).map(paint));
}
