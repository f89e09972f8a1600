import { type Completed, type CompletedOption, flagsWithValues } from "./tree.js";

/** Completions for fish. */
export function fishCompletion(commands: readonly Completed[]): string {
  const [root] = commands;
  const name = root?.path ?? "";
  const paths = commands.slice(1).map(({ path }) => quote(path));
  return [
    `# fish completion for ${name}; written by: ${name} completion fish`,
    `function __${name}_at -d ${quote("Is this the command on the line?")}`,
    `  set -l path ${name}`,
    "  set -l skip",
    "  for word in (commandline -opc)[2..-1]",
    '    test -n "$skip"; and set skip; and continue',
    `    contains -- $word ${flagsWithValues(commands).join(" ")}; and set skip yes; and continue`,
    `    contains -- "$path $word" ${paths.join(" ")}; and set path "$path $word"`,
    "  end",
    '  test "$path" = "$argv[1]"',
    "end",
    ...commands.flatMap(({ path, commands: children, options }) => {
      const at = `complete -c ${name} -n ${quote(`__${name}_at ${quote(path)}`)}`;
      return [
        ...children.map((child) => `${at} -f -a ${child.name} -d ${quote(child.about)}`),
        ...options.map((option) => `${at} -l ${option.flag.slice(2)} ${taking(option)}-d ${quote(option.about)}`),
      ];
    }),
    "",
  ].join("\n");
}

function taking({ takes, choices }: CompletedOption): string {
  if (choices.length > 0) return `-x -a ${quote(choices.join(" "))} `;
  return { nothing: "", "a file": "-r ", "a value": "-x " }[takes];
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
