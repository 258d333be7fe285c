defmodule Bench.Machine do
  @moduledoc false
  # What has to stand beside a figure for it to mean anything.

  alias Bench.Baseline

  @spec describe(python :: String.t()) :: [{String.t(), String.t()}]
  def describe(python \\ python()) do
    [
      {"date", DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_string()},
      {"commit", commit()},
      {"Elixir", "#{System.version()}, OTP #{otp()} (#{:erlang.system_info(:emu_flavor)})"},
      {"Python", python},
      {"CPU", "#{cpu()}, #{System.schedulers_online()} cores"},
      {"kernel", kernel()},
      {"load before", load()}
    ]
  end

  @doc "One line, for the smaller benchmarks."
  @spec line() :: String.t()
  def line do
    "Elixir #{System.version()}, OTP #{otp()}, #{cpu()}, " <>
      "#{System.schedulers_online()} cores, #{Date.utc_today()}, commit #{commit()}"
  end

  # The release alone says little: a patch release may change the VM.
  defp otp do
    path = Path.join([:code.root_dir(), "releases", System.otp_release(), "OTP_VERSION"])

    case File.read(path) do
      {:ok, version} -> String.trim(version)
      {:error, _reason} -> System.otp_release()
    end
  end

  defp python do
    script = """
    import sys, zmq, msgpack
    print(sys.version.split()[0], zmq.__version__, zmq.zmq_version(), end=" ")
    print(*msgpack.version, sep=".")
    """

    {versions, 0} = System.cmd(Baseline.python(), ["-c", script])
    [python, pyzmq, libzmq, msgpack] = String.split(versions)
    "#{python}, pyzmq #{pyzmq}, libzmq #{libzmq}, msgpack #{msgpack}"
  end

  defp commit do
    with {hash, 0} <-
           System.cmd("git", ["rev-parse", "--short=12", "HEAD"], stderr_to_stdout: true),
         {changes, 0} <- System.cmd("git", ["status", "--porcelain", "-uno"]) do
      String.trim(hash) <> if(changes == "", do: "", else: " with changes")
    else
      _no_repository -> "unknown"
    end
  end

  defp cpu do
    with {:ok, text} <- File.read("/proc/cpuinfo"),
         [_, name] <- Regex.run(~r/^model name\s*: (.*)$/m, text) do
      name
    else
      _unknown -> List.to_string(:erlang.system_info(:system_architecture))
    end
  end

  defp kernel do
    {name, 0} = System.cmd("uname", ["-sr"])
    String.trim(name)
  end

  defp load do
    case File.read("/proc/loadavg") do
      {:ok, text} -> text |> String.split() |> Enum.take(3) |> Enum.join(" ")
      {:error, _reason} -> "unknown"
    end
  end
end
