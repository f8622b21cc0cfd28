"""softmax(Q Kᵀ / √p) V in three steps: in full, online, in blocks."""

import math

import numpy as np

from . import compiled
from .matmul import matmul_blocked, tiles
from .softmax import exp_of_row, max_of_row, scale_row, softmax_compiled


@compiled
def attention_formula(Q, K, V, OUT):
    length, width = Q.shape
    scores = np.empty((length, K.shape[0]), np.float32)
    for i in range(length):
        for j in range(K.shape[0]):
            total = np.float32(0)
            for d in range(width):
                total += Q[i, d] * K[j, d]
            scores[i, j] = total / math.sqrt(width)
    softmax_compiled(scores, scores)
    matmul_blocked(scores, V, OUT)


@compiled
def attention_online(Q, K, V, OUT):
    length, width = Q.shape
    for i in range(length):
        top, total = np.float32(-np.inf), np.float32(0)
        OUT[i] = 0
        for j in range(K.shape[0]):
            score = np.float32(0)
            for d in range(width):
                score += Q[i, d] * K[j, d]
            score = np.float32(score / math.sqrt(width))
            if score > top:
                factor = np.float32(math.exp(top - score))
                total *= factor
                for d in range(V.shape[1]):
                    OUT[i, d] *= factor
                top = score
            weight = np.float32(math.exp(score - top))
            total += weight
            for d in range(V.shape[1]):
                OUT[i, d] += weight * V[j, d]
        for d in range(V.shape[1]):
            OUT[i, d] /= total


QUERIES, KEYS = 96, 384


@compiled
def attention_blocks(Q, K, V, OUT):
    length, width = Q.shape
    deep = V.shape[1]
    block, turned = Q * np.float32(1 / math.sqrt(width)), K.T.copy()
    scores = np.empty((QUERIES, KEYS), np.float32)
    top, total = np.empty(QUERIES, np.float32), np.empty(QUERIES, np.float32)
    OUT[:] = 0
    for i0 in range(0, length, QUERIES):
        top[:], total[:] = -np.inf, 0
        for j0 in range(0, K.shape[0], KEYS):
            scores[:] = 0
            tiles(block, i0 * width, width, 1, turned, j0, K.shape[0], scores, 0, KEYS,
                  QUERIES, KEYS, width)  # fmt: skip
            for i in range(QUERIES):
                higher = max(top[i], max_of_row(scores, i * KEYS, KEYS))
                factor = np.float32(math.exp(top[i] - higher))
                added = exp_of_row(scores, i * KEYS, KEYS, higher, scores)
                total[i] = total[i] * factor + added
                scale_row(OUT, (i0 + i) * deep, deep, factor)
                top[i] = higher
            tiles(scores, 0, KEYS, 1, V, j0 * deep, deep, OUT, i0 * deep, deep,
                  QUERIES, deep, KEYS)  # fmt: skip
        for i in range(QUERIES):
            scale_row(OUT, (i0 + i) * deep, deep, np.float32(1) / total[i])
