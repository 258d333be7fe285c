defmodule Bench.Rows.Binaries do
  @moduledoc false
  # How fast do bytes travel, there and back, and in each direction?

  @behaviour Bench.Row

  alias Bench.{Baseline, Clock, Pool, Result, Rounds, Stats}

  @kib 1024
  @mib 1024 * @kib
  @rounds %{full: 9, quick: 2}
  # {name, bytes, echoes per round}
  @sizes [{"1 KiB", @kib, 500}, {"1 MiB", @mib, 20}, {"100 MiB", 100 * @mib, 2}]
  @large 100 * @mib

  # bytes(n) would be fresh memory, of which every page is the kernel's one page of zeros.
  @give """
  import os

  data = os.urandom(#{@large})


  def give():
      return data
  """

  @impl true
  def run(length) do
    socket = Baseline.start("unix_socket")

    results =
      Pool.with_pool(:binaries, [workers: 1], fn ->
        :ok = ErlangPython.exec(@give, %{}, pool: :binaries)
        rounds = @rounds[length]
        Enum.map(@sizes, &echo(&1, socket, rounds)) ++ one_way(socket, rounds)
      end)

    Baseline.stop(socket)
    results
  end

  defp echo({name, size, count}, socket, rounds) do
    bytes = bytes(size)
    ^size = byte_size(Pool.call!(:binaries, :__main__, :echo, [bytes]))

    rounds =
      Rounds.run(rounds,
        call: fn -> time(count, fn -> Pool.call!(:binaries, :__main__, :echo, [bytes]) end) end,
        socket: fn -> Stats.median(Baseline.ask(socket, [:echo, size, count])) end
      )

    Result.compare(
      "echo of #{name} of bytes",
      :time,
      rounds.call,
      {"raw unix socket", rounds.socket}
    )
  end

  defp one_way(socket, rounds) do
    bytes = bytes(@large)
    text = String.duplicate("text", div(@large, 4))
    tensor = %ErlangPython.Tensor{dtype: "|u1", shape: {@large}, data: bytes.data}

    rounds =
      Rounds.run(rounds,
        to: rate(fn -> Pool.call!(:binaries, :builtins, :len, [bytes]) end),
        to_socket: socket_rate(socket, :to_peer),
        from: rate(fn -> Pool.call!(:binaries, :__main__, :give, []) end),
        from_socket: socket_rate(socket, :from_peer),
        text: rate(fn -> Pool.call!(:binaries, :builtins, :len, [text]) end),
        tensor: rate(fn -> Pool.call!(:binaries, :builtins, :len, [tensor]) end)
      )

    to_socket = {"raw unix socket, one way", rounds.to_socket}
    from_socket = {"raw unix socket, one way", rounds.from_socket}

    [
      Result.compare(
        "100 MiB of bytes, Elixir to Python",
        :bytes_per_second,
        rounds.to,
        to_socket,
        absolute: {:at_least, 0.5e9}
      ),
      Result.compare(
        "100 MiB of bytes, Python to Elixir",
        :bytes_per_second,
        rounds.from,
        from_socket,
        absolute: {:at_least, 1.0e9}
      ),
      Result.compare(
        "100 MiB of text, Elixir to Python",
        :bytes_per_second,
        rounds.text,
        to_socket
      ),
      Result.compare(
        "100 MiB tensor, Elixir to NumPy",
        :bytes_per_second,
        rounds.tensor,
        to_socket
      )
    ]
  end

  defp bytes(size), do: ErlangPython.bytes(:crypto.strong_rand_bytes(size))

  defp time(count, run), do: Stats.median(Clock.times(count, run))
  defp rate(run), do: fn -> per_second(time(2, run)) end

  defp socket_rate(socket, command),
    do: fn -> per_second(Stats.median(Baseline.ask(socket, [command, @large, 2]))) end

  defp per_second(nanoseconds), do: @large / nanoseconds * 1.0e9
end
