defmodule Bench.ProcessInfo do
  @moduledoc false
  # What Linux says of a process.

  @spec available?() :: boolean()
  def available?, do: File.exists?("/proc/self/smaps_rollup")

  @doc "Its memory in bytes, with a share of each page that others have mapped too."
  @spec pss(pos_integer()) :: pos_integer()
  def pss(os_pid) do
    [_, kilobytes] = Regex.run(~r/^Pss:\s+(\d+) kB$/m, File.read!("/proc/#{os_pid}/smaps_rollup"))
    1024 * String.to_integer(kilobytes)
  end

  @doc "The CPU time of all its threads in nanoseconds; /proc/PID/stat counts in hundredths of a second."
  @spec cpu_time(pos_integer()) :: non_neg_integer()
  def cpu_time(os_pid) do
    for path <- Path.wildcard("/proc/#{os_pid}/task/*/schedstat"), reduce: 0 do
      sum -> sum + thread_time(File.read(path))
    end
  end

  defp thread_time({:ok, text}), do: text |> String.split() |> hd() |> String.to_integer()
  # It has just ended.
  defp thread_time({:error, _reason}), do: 0
end
