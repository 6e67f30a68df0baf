// Every route of the API that the sandbox knows, and what it says to the others.

import { Hono } from 'hono'
import { refusalResponse } from './answers.ts'
import { addAppRoutes } from './app-routes.ts'
import type { ApiEnv } from './exchange.ts'
import { addOpenRoutes } from './open-routes.ts'
import { API_PREFIX, type Parts } from './parts.ts'
import { notFound, Refusal } from './refusal.ts'
import { addRepositoryRoutes } from './repository-routes.ts'

export const createRoutes = (parts: Parts): Hono<ApiEnv> => {
  const api = new Hono<ApiEnv>({ strict: false }).basePath(API_PREFIX)
  addOpenRoutes(api, parts)
  addAppRoutes(api, parts)
  addRepositoryRoutes(api, parts)
  api.notFound(() => refusalResponse(notFound()))
  api.onError(error => {
    if (error instanceof Refusal) return refusalResponse(error)
    throw error
  })
  return api
}
