defmodule ErlangPython.FailuresLast do
  @moduledoc false
  # Tells the failures of a run once more, at its end: the output of a whole run is long, and where it is kept, often
  # only its end is.
  use GenServer

  alias ExUnit.{Formatter, Test, TestModule}

  # Messages of the random mix hold the states of processes.
  @longest 3_000

  @impl true
  def init(opts), do: {:ok, %{width: opts[:width] || 120, failures: []}}

  @impl true
  def handle_cast({:test_finished, %Test{state: {:failed, failures}} = test}, state),
    do: keep(&Formatter.format_test_failure/5, test, failures, state)

  # Of `setup_all`.
  def handle_cast({:module_finished, %TestModule{state: {:failed, failures}} = module}, state),
    do: keep(&Formatter.format_test_all_failure/5, module, failures, state)

  def handle_cast({:suite_finished, _times}, %{failures: [_ | _] = failures} = state) do
    IO.puts("\nFailures of this run:\n#{failures |> Enum.reverse() |> Enum.join("\n")}")
    {:noreply, state}
  end

  def handle_cast(_event, state), do: {:noreply, state}

  defp keep(format, what, failures, state) do
    plain = fn _style, text -> text end
    text = format.(what, failures, length(state.failures) + 1, state.width, plain)
    {:noreply, %{state | failures: [String.slice(text, 0, @longest) | state.failures]}}
  end
end
