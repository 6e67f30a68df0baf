// Writes the completion scripts for bash, zsh and fish from the commands' own definitions.

import { type CommandSpec, type Completion, GLOBAL_OPTIONS, type OptionSpec } from './command.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

export const isShell = (text: string): text is Shell => (SHELLS as readonly string[]).includes(text)

export const completionScript = (shell: Shell, commands: readonly CommandSpec[]): string => {
  switch (shell) {
    case 'bash':
      return bash(commands)
    case 'zsh':
      return zsh(commands)
    case 'fish':
      return fish(commands)
    default:
      return shell satisfies never
  }
}

const HELP: OptionSpec = { flags: '--help', description: 'show help' }
const VERSION: OptionSpec = { flags: '--version', description: 'show the version' }

const longOf = (option: OptionSpec): string => option.flags.split(' ')[0] ?? ''
const valueOf = (option: OptionSpec): string | undefined => option.flags.split(' ')[1]
const isPath = (option: OptionSpec): boolean => valueOf(option) === 'FILE' || valueOf(option) === 'PATH'
const optionsOf = (command: CommandSpec): OptionSpec[] => [...command.options, ...GLOBAL_OPTIONS, HELP]
const choicesOf = (command: CommandSpec): readonly string[] => command.arguments?.[0]?.choices ?? []

type Word = { readonly word: string; readonly description: string }

/** What may follow each path of words: '' is the program, `config` a group, `config check` a command. */
const continuations = (commands: readonly CommandSpec[]): Map<string, Word[]> => {
  const next = new Map<string, Word[]>([['', []]])
  for (const command of commands) {
    const words = command.name.split(' ')
    for (const [at, word] of words.entries()) {
      const path = words.slice(0, at).join(' ')
      const known = next.get(path) ?? []
      const description = at === words.length - 1 ? command.summary : `${word} ...`
      if (!known.some(other => other.word === word)) next.set(path, [...known, { word, description }])
    }
    // A command may be a group as well: `features`, `features enable`.
    const below = (next.get(command.name) ?? []).filter(({ word }) => !word.startsWith('-'))
    next.set(command.name, [
      ...below,
      ...choicesOf(command).map(word => ({ word, description: command.arguments?.[0]?.description ?? '' })),
      ...optionsOf(command).map(wordOf),
    ])
  }
  next.set('', [...(next.get('') ?? []), ...[...GLOBAL_OPTIONS, HELP, VERSION].map(wordOf)])
  return next
}

const wordOf = (option: OptionSpec): Word => ({ word: longOf(option), description: option.description })

type Value = { readonly place: string; readonly kind: Completion }

/** Where the daemon knows the values: `token --profile`, as an option's; `sink`, as a command's argument. */
const valuesOf = (commands: readonly CommandSpec[]): { options: Value[]; arguments: Value[] } => ({
  options: commands.flatMap(({ name, options }) =>
    options.flatMap(option => (option.complete ? [{ place: `${name} ${longOf(option)}`, kind: option.complete }] : [])),
  ),
  arguments: commands.flatMap(({ name, arguments: [first] = [] }) =>
    first?.complete ? [{ place: name, kind: first.complete }] : [],
  ),
})

const namesOf = (options: readonly OptionSpec[]): string[] => [...new Set(options.map(longOf))]

const bash = (commands: readonly CommandSpec[]): string => {
  const all = commands.flatMap(optionsOf)
  const known = valuesOf(commands)
  const next = continuations(commands)
  const paths = [...next.keys()].filter(path => path !== '').map(path => `"${path}"`)
  const cases = [...next].map(([path, words]) => `    "${path}") words="${words.map(({ word }) => word).join(' ')}" ;;`)
  const kinds = (values: readonly Value[]): string =>
    values.map(({ place, kind }) => `    "${place}") kind=${kind} ;;`).join('\n')
  return `# Completion of ghconnect for bash; made by: ghconnect completion
_ghconnect() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" at=$COMP_CWORD place="" kind="" word words="" prev i
  COMPREPLY=()
  # Bash takes "=" and ":" for words of their own.
  while ((at > 1)) && [[ "\${COMP_WORDS[at]}" == [=:] || "\${COMP_WORDS[at - 1]}" == [=:] ]]; do
    at=$((at - 1))
    cur="\${COMP_WORDS[at]}$cur"
  done
  prev="\${COMP_WORDS[at - 1]}"
  for ((i = 1; i < at; i++)); do
    word="\${COMP_WORDS[i]}"
    [ "$word" = -- ] && { COMPREPLY=($(compgen -c -f -- "$cur")); return; }
    case "\${place:+$place }$word" in
    ${paths.join(' | ')}) place="\${place:+$place }$word" ;;
    esac
  done
  local start="\${cur%"\${cur##*[=:]}"}"
  [[ "$cur" == --*=* ]] && { prev="\${cur%%=*}"; cur="\${cur#*=}"; }
  case "$place $prev" in
${kinds(known.options)}
  esac
  if [ -z "$kind" ]; then
    case "$prev" in
      ${namesOf(all.filter(isPath)).join('|')}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      ${namesOf(all.filter(option => valueOf(option) !== undefined)).join('|')}) return ;;
    esac
    [[ "$cur" == -* ]] || case "$place" in
${kinds(known.arguments)}
    esac
  fi
  if [ -n "$kind" ]; then
    while IFS=$'\\t' read -r word _; do
      [[ "$word" == "$cur"* ]] && { [[ "$start" == --* ]] || word="\${word#"$start"}"; COMPREPLY+=("$word"); }
    done < <("\${COMP_WORDS[0]}" __complete "$kind" 2>/dev/null)
    return
  fi
  case "$place" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o filenames -F _ghconnect ghconnect
`
}

/** As `_describe` reads it: a colon ends the word. */
const described = ({ word, description }: Word): string =>
  `'${`${word.replaceAll(':', '\\:')}:${description}`.replaceAll("'", `'\\''`)}'`

const zsh = (commands: readonly CommandSpec[]): string => {
  const all = commands.flatMap(optionsOf)
  const known = valuesOf(commands)
  const next = continuations(commands)
  const paths = [...next.keys()].filter(path => path !== '').map(path => `"${path}"`)
  const cases = [...next].map(([path, words]) => `    ("${path}") items=(${words.map(described).join(' ')}) ;;`)
  const kinds = (values: readonly Value[]): string =>
    values.map(({ place, kind }) => `    ("${place}") kind=${kind} ;;`).join('\n')
  return `#compdef ghconnect
# Completion of ghconnect for zsh; made by: ghconnect completion zsh
_ghconnect() {
  local place="" word="" kind="" line="" prev="\${words[CURRENT-1]}"
  local -a items
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    if [[ "$word" == -- ]]; then
      shift $i words
      ((CURRENT -= i))
      _normal
      return
    fi
    case "\${place:+$place }$word" in
    (${paths.join('|')}) place="\${place:+$place }$word" ;;
    esac
  done
  if [[ "$PREFIX" == --*=* ]]; then
    prev="\${PREFIX%%=*}"
    compset -P '--*='
  fi
  case "$place $prev" in
${kinds(known.options)}
  esac
  if [[ -z "$kind" ]]; then
    case "$prev" in
    (${namesOf(all.filter(isPath)).join('|')}) _files; return ;;
    (${namesOf(all.filter(option => valueOf(option) !== undefined)).join('|')}) return ;;
    esac
    [[ "$PREFIX" == -* ]] || case "$place" in
${kinds(known.arguments)}
    esac
  fi
  if [[ -n "$kind" ]]; then
    while IFS= read -r line; do
      items+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    done < <("\${words[1]}" __complete "$kind" 2>/dev/null)
    ((\${#items})) && _describe -t values value items
    return
  fi
  case "$place" in
${cases.join('\n')}
  esac
  _describe -t words word items
}
if [[ "\${funcstack[1]}" == _ghconnect ]]; then _ghconnect "$@"; else compdef _ghconnect ghconnect; fi
`
}

const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`

/** Fish shows what stands behind a tab beside the value. */
const asked = (kind: Completion): string => ` -a '(ghconnect __complete ${kind} 2>/dev/null)'`

const fishOption = (condition: string, spec: OptionSpec): string => {
  const value = valueOf(spec) === undefined ? '' : isPath(spec) ? ' -r -F' : ' -x'
  const values = spec.complete ? asked(spec.complete) : ''
  return `complete -c ghconnect${condition} -l ${longOf(spec).slice(2)}${value}${values} -d ${quote(spec.description)}`
}

const fish = (commands: readonly CommandSpec[]): string => {
  const heads = [...new Set(commands.map(command => command.name.split(' ')[0] ?? ''))].join(' ')
  const lines = ['complete -c ghconnect -f', ...[...GLOBAL_OPTIONS, HELP, VERSION].map(spec => fishOption('', spec))]
  for (const command of commands) {
    const [head = '', second] = command.name.split(' ')
    const first = ` -n ${quote(`not __fish_seen_subcommand_from ${heads}`)}`
    const within = ` -n ${quote(`__fish_seen_subcommand_from ${head}`)}`
    const summary = `-d ${quote(command.summary)}`
    lines.push(`complete -c ghconnect${first} -a ${head} ${second === undefined ? summary : ''}`.trimEnd())
    if (second !== undefined) lines.push(`complete -c ghconnect${within} -a ${second} ${summary}`)
    for (const choice of choicesOf(command)) lines.push(`complete -c ghconnect${within} -a ${choice}`)
    const argument = command.arguments?.[0]?.complete
    if (argument) lines.push(`complete -c ghconnect${within}${asked(argument)}`)
    for (const spec of command.options) lines.push(fishOption(within, spec))
    if (command.passThrough) lines.push(`complete -c ghconnect${within} -a '(__fish_complete_command)'`)
  }
  return `# Completion of ghconnect for fish; made by: ghconnect completion fish\n${lines.join('\n')}\n`
}
