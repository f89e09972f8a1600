/** What a guide asks a person to type, on which hosts, or to write, into which file. */
export interface Block {
  readonly line: number;
  readonly kind: string;
  readonly places: readonly string[];
  readonly text: string;
}

export interface Guide {
  readonly blocks: readonly Block[];
  /** First lines of blocks that are none of these. */
  readonly unknown: readonly string[];
  /** All that is no block. */
  readonly text: string;
}

const BLOCK = /^```(.*)\n([\s\S]*?)^```$/gm;
const HEAD = /^(sh|terminal|yaml) (\S.*)$/;

export function readGuide(guide: string): Guide {
  const found = [...guide.matchAll(BLOCK)];
  const blocks = found.flatMap(([, head = "", text = ""], index) => {
    const [, kind = "", where = ""] = HEAD.exec(head) ?? [];
    const line = guide.slice(0, found[index]?.index).split("\n").length;
    return kind === "" ? [] : [{ line, kind, places: where.split(" "), text }];
  });
  const unknown = found.map(([, head = ""]) => head).filter((head) => !HEAD.test(head));
  return { blocks, unknown, text: guide.replaceAll(BLOCK, "") };
}

/** Commands that the text names, each in one line, and options that it names alone. A program's bare name is no command. */
export function commandsOf(text: string, programs: ReadonlySet<string>): string[] {
  const spans = [...text.matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span.split(/\s+/).join(" "));
  return spans.filter((span) => {
    const [first = "", ...rest] = span.split(" ");
    return /^--?[a-z]/.test(first) || (programs.has(first) && rest.length > 0);
  });
}

/** The words of a command as a shell shows it. */
export function wordsOf(command: string): string[] {
  return [...command.matchAll(/(?:'[^']*'|"[^"]*"|\S)+/g)].map(([word]) => word.replaceAll(/['"]/g, ""));
}

/** Some command that was typed has these words in this order. One in capitals, or `...`, is any; `*` is any part of one. */
export function isTyped(command: string, typed: readonly string[]): boolean {
  const wanted = wordsOf(command);
  return typed.some((each) => {
    let next = 0;
    for (const word of wordsOf(each)) if (next < wanted.length && isSame(wanted[next] ?? "", word)) next += 1;
    return next === wanted.length;
  });
}

function isSame(wanted: string, word: string): boolean {
  if (wanted === "..." || /^[A-Z]+$/.test(wanted)) return true;
  const parts = wanted.split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(word);
}
