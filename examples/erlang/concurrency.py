"""The Python half of concurrency.erl."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import erlang


def names(count):
    return [f"question {n}" for n in range(1, count + 1)]


def milliseconds(began):
    return round((time.perf_counter() - began) * 1000)


def ask_all(count):
    began = time.perf_counter()
    answers = erlang.lookup_all(names(count))
    return answers, milliseconds(began)


def ask_from_threads(count):
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        answers = list(threads.map(erlang.lookup, names(count)))
    return len(answers), milliseconds(began)


async def ask_from_coroutines(count):
    began = time.perf_counter()
    answers = await asyncio.gather(*(erlang.acall("lookup", name) for name in names(count)))
    return len(answers), milliseconds(began)


def save(account, amounts):
    for amount in amounts:
        erlang.send(account, ("deposit", amount))
    return erlang.balance(account)


def pipeline(collector, count):
    workers = erlang.start_workers(3, collector)
    for n in range(count):
        erlang.send(workers[n % len(workers)], ("square", n))
    squares = erlang.collected(collector, count)
    for worker in workers:
        erlang.send(worker, "stop")
    return squares
