// Which language a page is in: the one that was chosen, else the first that the browser asks for and that there is.

import { LANGUAGES, type Language } from './model.ts'

export const isLanguage = (text: string | undefined): text is Language =>
  (LANGUAGES as readonly (string | undefined)[]).includes(text)

export const languageOf = (chosen: string | undefined, acceptLanguage: string | undefined): Language => {
  if (isLanguage(chosen)) return chosen
  const wanted = (acceptLanguage ?? '')
    .slice(0, LONGEST)
    .split(',')
    .map(part => {
      const [range = '', ...parameters] = part.split(';').map(text => text.trim().toLowerCase())
      const quality = parameters.find(text => text.startsWith('q='))?.slice(2)
      return { language: range.split('-')[0], quality: quality === undefined ? 1 : Number(quality) || 0 }
    })
    .filter(({ quality }) => quality > 0)
    .toSorted((a, b) => b.quality - a.quality)
  for (const { language } of wanted) if (isLanguage(language)) return language
  return 'en'
}

const LONGEST = 256
