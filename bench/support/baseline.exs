defmodule Bench.Baseline do
  @moduledoc false
  # A Python program of bench/baselines that does the same work without us. It gets one line
  # per round on its stdin and answers with one line of numbers, so that rounds
  # of both sides take turns.

  @folder Path.expand("../baselines", __DIR__)
  @python Path.expand("../../.cache/venv/bin/python", __DIR__)
  @longest_line 10_000_000

  @spec python() :: Path.t()
  def python, do: @python

  @doc "Starts `name`.py; it is there when it has answered."
  @spec start(String.t()) :: port()
  def start(name) do
    port = open([Path.join(@folder, name <> ".py")])
    [] = numbers(port)
    port
  end

  @doc "Starts the interpreter with any arguments; what it prints comes line by line."
  @spec open([String.t()]) :: port()
  def open(args) do
    options = [:binary, :exit_status, line: @longest_line, args: args]
    Port.open({:spawn_executable, @python}, options)
  end

  @doc "One round: a command and its arguments."
  @spec ask(port(), [atom() | number()]) :: [number()]
  def ask(port, words) do
    Port.command(port, [Enum.join(words, " "), ?\n])
    numbers(port)
  end

  @doc "How long the interpreter takes to start, run a line of code and end."
  @spec run_time(String.t()) :: non_neg_integer()
  def run_time(code) do
    Bench.Clock.time(fn ->
      port = open(["-c", code])
      receive do: ({^port, {:exit_status, 0}} -> :ok)
    end)
  end

  # They end with their stdin.
  @spec stop(port()) :: true
  def stop(port), do: Port.close(port)

  @spec os_pid(port()) :: pos_integer()
  def os_pid(port), do: port |> Port.info(:os_pid) |> elem(1)

  @spec line(port()) :: String.t()
  def line(port) do
    receive do
      {^port, {:data, {:eol, line}}} -> line
      {^port, {:exit_status, status}} -> raise "a baseline ended with status #{status}"
    end
  end

  defp numbers(port) do
    for word <- port |> line() |> String.split() do
      case Integer.parse(word) do
        {number, ""} -> number
        _fraction -> String.to_float(word)
      end
    end
  end
end
