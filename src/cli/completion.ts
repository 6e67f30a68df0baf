// Writes the completion scripts for bash, zsh and fish from the commands' own definitions.

import { type CommandSpec, GLOBAL_OPTIONS, type OptionSpec } from './command.ts'

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]

export const isShell = (text: string): text is Shell => (SHELLS as readonly string[]).includes(text)

export const completionScript = (shell: Shell, commands: readonly CommandSpec[]): string => {
  switch (shell) {
    case 'bash':
      return bash(commands)
    case 'zsh':
      return `#compdef ghconnect\nautoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`
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

/** What may follow each path of words: '' is the program, `config` a group, `config check` a command. */
const continuations = (commands: readonly CommandSpec[]): Map<string, string[]> => {
  const next = new Map<string, string[]>([['', []]])
  for (const command of commands) {
    const words = command.name.split(' ')
    for (const [at, word] of words.entries()) {
      const path = words.slice(0, at).join(' ')
      const known = next.get(path) ?? []
      if (!known.includes(word)) next.set(path, [...known, word])
    }
    next.set(command.name, [...choicesOf(command), ...optionsOf(command).map(longOf)])
  }
  next.set('', [...(next.get('') ?? []), ...[...GLOBAL_OPTIONS, HELP, VERSION].map(longOf)])
  return next
}

const bash = (commands: readonly CommandSpec[]): string => {
  const all = commands.flatMap(optionsOf)
  const ofPaths = [...new Set(all.filter(isPath).map(longOf))].join('|')
  const ofValues = [...new Set(all.filter(option => valueOf(option) !== undefined).map(longOf))].join('|')
  const next = continuations(commands)
  const paths = [...next.keys()].filter(path => path !== '').map(path => `"${path}"`)
  const cases = [...next].map(([path, words]) => `    "${path}") words="${words.join(' ')}" ;;`)
  return `# Completion of ghconnect for bash and zsh; made by: ghconnect completion
_ghconnect() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD - 1]}" path="" word words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    [ "$word" = -- ] && { COMPREPLY=($(compgen -c -f -- "$cur")); return; }
    case "\${path:+$path }$word" in
    ${paths.join(' | ')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$prev" in
    ${ofPaths}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    ${ofValues}) return ;;
  esac
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o filenames -F _ghconnect ghconnect
`
}

const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`

const fishOption = (condition: string, spec: OptionSpec): string => {
  const value = valueOf(spec) === undefined ? '' : isPath(spec) ? ' -r -F' : ' -x'
  return `complete -c ghconnect${condition} -l ${longOf(spec).slice(2)}${value} -d ${quote(spec.description)}`
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
    for (const spec of command.options) lines.push(fishOption(within, spec))
    if (command.passThrough) lines.push(`complete -c ghconnect${within} -a '(__fish_complete_command)'`)
  }
  return `# Completion of ghconnect for fish; made by: ghconnect completion fish\n${lines.join('\n')}\n`
}
