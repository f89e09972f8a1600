/** How words look. On a terminal with colours they have some; everywhere else a style changes nothing. */
export interface Style {
  good(text: string): string;
  warn(text: string): string;
  bad(text: string): string;
  dim(text: string): string;
  strong(text: string): string;
}

const same = (text: string) => text;
export const PLAIN: Style = { good: same, warn: same, bad: same, dim: same, strong: same };

/** The sixteen colours every terminal has, so that people's own themes apply. */
export const COLOURED: Style = {
  good: sgr(32),
  warn: sgr(33),
  bad: sgr(31),
  dim: sgr(2),
  strong: sgr(1),
};

/** https://no-color.org: any value but an empty one turns colours off. */
export function styleFor(
  output: { readonly isTty: boolean },
  env: Readonly<Record<string, string | undefined>>,
): Style {
  return output.isTty && !env.NO_COLOR && env.TERM !== "dumb" ? COLOURED : PLAIN;
}

function sgr(code: number): (text: string) => string {
  return (text) => (text === "" ? "" : `\x1b[${code}m${text}\x1b[0m`);
}
