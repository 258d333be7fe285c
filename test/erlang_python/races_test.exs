defmodule ErlangPython.RacesTest do
  # A random mix of callers, deadlines, deaths, restarts and changes of size, under a seed that is printed when
  # it fails. Each caller gets one answer, its own, in time; nothing runs twice.
  use ErlangPython.PoolCase, async: true

  @moduletag :tmp_dir

  @mix_ms 8_000
  # Beyond its deadline, for a machine that is busy.
  @slack_ms 15_000

  @append """
  import os
  fd = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
  os.write(fd, b"%d\\n" % n)
  os.close(fd)
  """

  for {name, options} <- [
        {"workers with a window of their own choice", [workers: 3]},
        {"one worker with a window of 16", [workers: 1, window: 16]},
        {"one worker with a window of 64", [workers: 1, window: 64]},
        {"two workers that are replaced all the time", [workers: 2, window: 16, max_requests: 20]}
      ] do
    test name, %{tmp_dir: dir} do
      pool = start_pool([grace: 200] ++ unquote(options))
      workers = Keyword.fetch!(unquote(options), :workers)
      log = Path.join(dir, "log")
      seed = System.unique_integer([:positive]) + System.os_time(:microsecond)
      until = System.monotonic_time(:millisecond) + div(@mix_ms, 2)

      callers =
        for caller <- 1..24 do
          Task.async(fn ->
            :rand.seed(:exsss, {seed, caller, 0})
            mix(pool, log, caller, 1, until, [])
          end)
        end

      trouble = Task.async(fn -> trouble(pool, workers, until) end)
      results = callers |> Task.await_many(120_000) |> Enum.concat()
      Task.await(trouble, 120_000)
      :ok = Pool.scale(pool, workers)
      await_whole(pool, workers)
      check(results, runs(log), seed)
    end
  end

  defp mix(pool, log, caller, turn, until, results) do
    if System.monotonic_time(:millisecond) > until do
      assert {:messages, []} = Process.info(self(), :messages)
      results
    else
      n = caller * 1_000_000 + turn
      timeout = Enum.random([5, 20, 100, 1_000, 3_000])
      code = @append <> Enum.random(codes())

      {ms, result} =
        milliseconds(fn ->
          ErlangPython.run(code <> "\nn", %{log: log, n: n}, pool: pool, timeout: timeout)
        end)

      assert ms < timeout + @slack_ms
      mix(pool, log, caller, turn + 1, until, [{n, result} | results])
    end
  end

  # Mostly short and harmless.
  defp codes do
    List.duplicate("", 60) ++
      List.duplicate("import time; time.sleep(0.002)", 10) ++
      [
        "import time; time.sleep(0.05)",
        "import time; time.sleep(30)",
        "while True: pass",
        "raise ValueError(n)",
        "import os; os._exit(1)",
        "import ctypes; ctypes.string_at(0)",
        "import os; os.kill(os.getpid(), 9)"
      ]
  end

  defp trouble(pool, workers, until) do
    if System.monotonic_time(:millisecond) < until do
      case Enum.random([:restart, :scale, :scale]) do
        :restart -> Pool.restart(pool)
        :scale -> Pool.scale(pool, Enum.random(1..(workers + 2)))
      end

      trouble(pool, workers, until)
    end
  end

  defp runs(log), do: log |> File.read!() |> String.split() |> Enum.frequencies()

  defp check(results, runs, seed) do
    for {n, result} <- results do
      ran = Map.get(runs, "#{n}", 0)
      right? = right?(result, n, ran)
      assert right?, "seed #{seed}: request #{n} ran #{ran} times and got #{inspect(result)}"
    end

    assert Enum.any?(results, &match?({_n, {:ok, _value}}, &1))
  end

  defp right?({:ok, value}, n, ran), do: value == n and ran == 1
  defp right?({:error, %Error{executed: :no}}, _n, ran), do: ran == 0

  defp right?({:error, %Error{kind: :python} = error}, n, ran),
    do: error.message == "#{n}" and ran == 1

  defp right?({:error, %Error{executed: :maybe}}, _n, ran), do: ran in 0..1
  defp right?(_other, _n, _ran), do: false
end
