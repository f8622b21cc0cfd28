"""Temporary stand-in."""

import math

import numpy as np

exp = np.exp
tanh = np.tanh
_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x):
    return _erf(x).astype(x.dtype) if x.size else x.copy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x, approximate=False):
    if approximate:
        c = math.sqrt(2 / math.pi)
        return 0.5 * x * (1 + np.tanh(c * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_backward(dy, x, approximate=False):
    if approximate:
        c = math.sqrt(2 / math.pi)
        t = np.tanh(c * (x + 0.044715 * x**3))
        return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))
    return dy * (
        0.5 * (1 + erf(x * math.sqrt(0.5))) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    )


def matmul(a, b, *, bias=None, out=None):
    r = np.matmul(a, b)
    return r if bias is None else r + bias


def softmax(x, axis=-1, mask=None):
    if mask is not None:
        x = np.where(mask, x, -np.inf)
    m = x.max(axis, keepdims=True, initial=-np.inf)
    if mask is not None:
        m = np.where(np.isneginf(m), 0, m)
    e = np.exp(x - m)
    s = e.sum(axis, keepdims=True)
    if mask is not None:
        s = np.where(s == 0, 1, s)
    return e / s


def softmax_backward(dy, y, axis=-1):
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax(x, axis=-1):
    m = x.max(axis, keepdims=True)
    z = x - m
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def log_softmax_backward(dy, y, axis=-1):
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


def cross_entropy(x, t):
    m = x.max(1)
    lse = m + np.log(np.exp(x - m[:, None]).sum(1))
    return lse - x[np.arange(len(x)), t], lse


def cross_entropy_backward(d, x, lse, t):
    p = np.exp(x - lse[:, None])
    p[np.arange(len(x)), t] -= 1
    return p * d[:, None]


def layer_norm(x, w, b, eps):
    m = x.mean(-1, keepdims=True)
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    y = (x - m) * r
    if w is not None:
        y = y * w
    if b is not None:
        y = y + b
    return y, m, r


def layer_norm_backward(dy, x, w, m, r):
    h = (x - m) * r
    g = dy if w is None else dy * w
    ax = tuple(range(x.ndim - 1))
    return (
        (g - g.mean(-1, keepdims=True) - h * (g * h).mean(-1, keepdims=True)) * r,
        (dy * h).sum(ax),
        dy.sum(ax),
    )


def embedding_backward(dy, i, n):
    o = np.zeros((n, dy.shape[-1]), dy.dtype)
    np.add.at(o, i, dy)
    return o


def adamw_step(p, g, m, v, *, lr, beta1, beta2, eps, weight_decay, step):
    p *= 1 - lr * weight_decay
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    p -= lr / (1 - beta1**step) * m / (np.sqrt(v / (1 - beta2**step)) + eps)
