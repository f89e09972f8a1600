import { type Completed, type CompletedOption, flagsWithValues } from "./tree.js";

/** A completion script for bash. It needs nothing but bash itself. */
export function bashCompletion(commands: readonly Completed[]): string {
  const [root] = commands;
  const name = root?.path ?? "";
  const answers = new Map<string, string[]>();
  for (const { path, options } of commands) {
    for (const option of options.filter(({ takes }) => takes !== "nothing")) {
      const answer = answerTo(option);
      answers.set(answer, [...(answers.get(answer) ?? []), `"${path} ${option.flag}"`]);
    }
  }
  return [
    `# bash completion for ${name}; written by: ${name} completion bash`,
    `_${name}() {`,
    `  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}`,
    `  local path=${name} words= flags= index`,
    "  COMPREPLY=()",
    "  for ((index = 1; index < COMP_CWORD; index++)); do",
    `    case \${COMP_WORDS[index]} in`,
    `      ${flagsWithValues(commands).join("|")}) ((index++)); continue ;;`,
    "    esac",
    `    case "$path \${COMP_WORDS[index]}" in`,
    `      ${commands
      .slice(1)
      .map(({ path }) => `"${path}"`)
      .join("|")}) path="$path \${COMP_WORDS[index]}" ;;`,
    "    esac",
    "  done",
    '  case "$path $previous" in',
    ...[...answers].map(([answer, places]) => `    ${places.join("|")}) ${answer}; return ;;`),
    "  esac",
    "  case $path in",
    ...commands.map(
      ({ path, commands: children, options }) =>
        `    "${path}") words="${children.map((child) => child.name).join(" ")}" flags="${options.map(({ flag }) => flag).join(" ")}" ;;`,
    ),
    "  esac",
    "  # Options are offered once a dash asks for them; before that commands and, where there are none, files.",
    "  [[ $current == -* ]] && words=$flags",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    `complete -o default -F _${name} ${name}`,
    "",
  ].join("\n");
}

function answerTo({ takes, choices }: CompletedOption): string {
  if (choices.length > 0) return `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$current"))`;
  return takes === "a file" ? 'COMPREPLY=($(compgen -f -- "$current"))' : "compopt +o default";
}
