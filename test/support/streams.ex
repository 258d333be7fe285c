defmodule ErlangPython.TestStreams do
  @moduledoc false
  # Pools with generators to stream from, and what the tests of streams ask them.

  import ErlangPython.PoolCase, only: [handle: 1, start_pool: 1]

  # Generators that leave a trace of their ends, and can be held at gates.
  @code """
  import os, pathlib, time
  log = []
  def numbers(start=0):
      try:
          while True:
              yield start
              start += 1
      finally:
          log.append('closed')
  def made(made_file):
      n = 0
      while True:
          with open(made_file, 'a') as file: file.write('.')
          yield n
          n += 1
  def wait(go):
      while not pathlib.Path(go).exists(): time.sleep(0.005)
  def gated(started, go, before=0, closed=None):
      try:
          for n in range(before): yield n
          pathlib.Path(started).touch()
          wait(go)
          yield before
          yield before + 1
      finally:
          if closed: pathlib.Path(closed).touch()
  def stubborn(started):
      try:
          yield 1
      finally:
          pathlib.Path(started).touch()
          while True:
              try: time.sleep(60)
              except BaseException: pass
  """

  @doc "A pool with the generators."
  def start(options \\ []), do: start_pool([preload: [{:code, @code}]] ++ options)

  def stream(pool, function, args \\ [], opts \\ []),
    do: ErlangPython.stream(:__main__, function, args, [pool: pool] ++ opts)

  @doc "What the generators have left in the log, of one worker."
  def log(pool), do: ErlangPython.eval!("log", %{}, pool: pool)

  def open_streams(pool), do: :ets.info(handle(pool).streams, :size)

  @doc "The first item of a stream that stays open, and how to go on."
  def first(stream) do
    {:suspended, item, continue} =
      Enumerable.reduce(stream, {:cont, nil}, fn item, _ -> {:suspend, item} end)

    {item, continue}
  end

  def halt(continue), do: continue.({:halt, nil})
end
